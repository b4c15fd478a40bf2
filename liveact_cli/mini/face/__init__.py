"""The face of liveact-mini: fit a mesh to the person in a picture and draw it in motion."""
