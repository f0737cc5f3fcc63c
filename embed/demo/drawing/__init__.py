"""What a drawn scene is made of: places, things, figures and faces, in coordinates from 0 to 1."""
