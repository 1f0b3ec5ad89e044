"""How each file of a study is written and read; where it lies is ``rundir.py``'s."""
