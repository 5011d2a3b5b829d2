"""Everything that imports TensorFlow and Keras: backbones, heads, inputs, training, Grad-CAM."""
