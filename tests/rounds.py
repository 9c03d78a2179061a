"""What tests of one round of training share: a kill behind a step, and when two results are the same bits."""

import numpy as np


class Killed(BaseException):
    pass


def killed_behind(step):
    def progress(done, num_steps, loss):
        if done == step:
            raise Killed

    return progress


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
