"""The offline engine: recogniser, dialogue document and voice in this process."""
