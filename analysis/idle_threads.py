"""What an idle thread of OpenMP does: it sleeps, rather than loop until the next layer.

By default a thread of torch that has nothing to do loops for about a millisecond. On cores that
other work needs, too, the loop takes the core from the thread that works: measured with two threads
on two busy cores, a step of training took 4 to 35 times as long. On idle cores a forward with
sleeping threads takes 4 to 25 % longer.
"""

import os

SETTING = "OMP_WAIT_POLICY"


def let_idle_threads_sleep() -> None:
    """Ask OpenMP for sleeping threads; a setting of the person's own stays.

    OpenMP reads the setting when torch is imported: a later call changes nothing. A process that is
    started afterwards inherits the setting.
    """
    os.environ.setdefault(SETTING, "PASSIVE")
