"""Prints path, kind and value of everything that pycdlib finds in the Rock Ridge tree, in hex."""
import io
import sys

import pycdlib

iso = pycdlib.PyCdlib()
iso.open(sys.argv[1])


def visit(folder):
    for child in iso.list_children(rr_path=folder):
        if child is None or child.is_dot() or child.is_dotdot():
            continue
        path = folder.rstrip("/") + "/" + child.rock_ridge.name().decode()
        value = b""
        if child.rock_ridge.is_symlink():
            kind, value = "link", child.rock_ridge.symlink_path()
        elif child.is_dir():
            kind = "folder"
            visit(path)
        else:
            kind, content = "file", io.BytesIO()
            iso.get_file_from_iso_fp(content, rr_path=path)
            value = content.getvalue()
        print(path[1:].encode().hex(), kind, value.hex(), sep=" ")


visit("/")
