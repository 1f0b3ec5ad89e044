#!/usr/bin/env bash
# Build the wheel and the source distribution, check them, install the wheel into an empty
# environment and run a small demo study from it:
#     tools/check_package.sh DIST [CONSTRAINTS] [ENVIRONMENT]
# DIST receives wheel and sdist. ENVIRONMENT stays; without a name it is deleted.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
dist=$(realpath -m "$1")
constraints=$(realpath "${2:-constraints.txt}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
environment=$(realpath -m "${3:-$work/environment}")

# From a copy: a build writes beside the sources, and would pack what an earlier one left there.
mkdir "$work/source"
git ls-files -z | tar --null --files-from=- -cf - | tar -C "$work/source" -xf -
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet --constraint constraints.txt build twine
rm -rf "$dist"
"$work/build/bin/python" -m build --outdir "$dist" "$work/source"
"$work/build/bin/python" -m twine check --strict "$dist"/*

"$python" -m venv --clear "$environment"
"$environment/bin/python" -m pip install --quiet --constraint "$constraints" "$dist"/*.whl
"$environment/bin/python" -m pip check
cd "$work" # nothing of the repository can be imported here
"$environment/bin/seewhy" --version
# Small, since this checks the package; the tests check the numbers.
"$environment/bin/seewhy" run demo --quiet --out demo --set data.demo_train=40 \
  --set data.demo_test=10 --set data.demo_size=96 --set input.size=96 --set search.trials=2 \
  --set search.max_layers=1 --set finetuning.epochs=2 --set explanation.faithfulness=10
test -s demo/report/index.html
# The end of the study's manifest lists the steps that failed.
tail -n 2 demo/summary.json | grep -q '"failed": \[\]'
echo "the wheel works: a demo study with its report"
