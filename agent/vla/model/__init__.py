"""What the model computes: from views and instruction to features, from features and sensors to set-points.

Of `agent.vla.speed` it uses the attention kernels only: a backbone is built with one.
"""
