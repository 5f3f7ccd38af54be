"""Processes are killed during an observation with everything around it: the short form of `make chaos`."""

from darc.simulation.chaos import Campaign, Plan
from darc.simulation.chaos_outcome import CANDIDATES, DOCUMENTS, DUMPS, FREEZES, MAILS


# a killed reader that holds a lock; what was read and not acted on; orphans
def test_kills_during_an_observation_change_nothing(tmp_path):
    plan = Plan(seed=5, kills=4, kills_each=4, duration_s=8.192)
    number = len(plan.sky().bursts)
    campaign = Campaign(tmp_path, plan)
    (arrived,) = campaign.run(plan.portions())
    different = {what: len(+times) for what, times in arrived.times.items()}
    lost, killed = arrived.excused, [kill.what for kill in campaign.kills]
    assert len(killed) == plan.kills
    assert different[DUMPS] >= number - lost[DUMPS], killed
    assert number - lost[FREEZES] <= different[FREEZES] <= number, killed
    assert set(arrived.times[FREEZES].values()) <= {1}, killed
    assert different[DOCUMENTS] == different[CANDIDATES] == number, killed
    assert different[MAILS] >= number - lost[FREEZES] + 1, killed
    assert not campaign.left and not arrived.wrong, killed
