"""Ways to run MedSync: images and a Compose file, and a local stack that needs neither."""
