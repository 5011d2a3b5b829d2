"""Everything that needs TensorFlow or OpenVINO: nets, features, training, inference.

The first import of anything here settles what these libraries read of the user's surroundings when
they are imported themselves: no call of a function could come before that.
"""

import os

from knee.run import known_noise, surroundings

surroundings.settle(os.environ)
known_noise.keep_out(os.environ)
