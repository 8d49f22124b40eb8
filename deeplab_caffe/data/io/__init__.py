"""Files: images and label maps, MAT and BIN files, lists, databases; no reader sees an unfinished file."""
