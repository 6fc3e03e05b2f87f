"""Tables larger than memory: whole account components on disk, read part by part."""
