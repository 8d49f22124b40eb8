"""Files: images and label maps, MAT and BIN files, lists, databases; written so that no reader sees a part."""
