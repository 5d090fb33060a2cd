"""The program inside the sandbox, and the frames it speaks.

Mounted read-only into the container and started with `python3 -I boot.py`: it imports
nothing of the project, only the standard library and IPython.
"""
