"""How the demonstration encoder learns: lots of drawn scenes, and questions asked as concepts ask them."""
