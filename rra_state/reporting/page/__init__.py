"""The status page: one HTML file that needs no network.

`render.py` makes it, from `map_data.py` and the template, style and script beside them.
"""
