"""Networks in files of other tools, hf:FOLDER and onnx:FILE: read without running code that is in them.

A new format is an entry of `MODEL_FILES` (`common/model_files`) and one of `READERS` (`readers`).
"""
