"""The demo: pictures that seewhy draws itself."""
