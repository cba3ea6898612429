"""Web pages: of one video's boxes, and of a folder of such pages; one self-contained file each."""
