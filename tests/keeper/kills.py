#!/usr/bin/python3
"""Readers do not notice that the process that serves them is killed, over and over."""

import unittest

import scene
import tap

KILLS = 1000 if scene.LONG else 30


class Kills(unittest.TestCase):
    deadline = 900

    def test_readers_do_not_notice_that_the_worker_is_killed(self):
        at = scene.Scene(self).start()
        at.begin_readers()
        pauses = at.kill_many(KILLS)
        at.finish_readers()
        print("# %d kills; pauses: p50 %.0f ms, p99 %.0f ms, max %.0f ms" % (
            KILLS, 1000 * pauses[len(pauses) // 2], 1000 * pauses[len(pauses) * 99 // 100],
            1000 * pauses[-1]))
        self.assertGreaterEqual(at.dsec.restarts(), KILLS)
        at.stop()


if __name__ == "__main__":
    tap.main()
