"""What the model computes: views and instruction to features, features and sensors to set-points."""
