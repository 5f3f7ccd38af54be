"""What is varied while a network is trained; these tests need the extra `train`."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'darc[train]'")


@pytest.fixture
def bursts():
    """Two bursts in all frequencies, and noise alone."""
    torch.manual_seed(1)
    images = 0.1 * torch.randn(3, 1, 32, 64)
    images[:2, :, :, 31:33] += 5
    return images, torch.tensor([1.0, 0.0, 1.0])


def test_a_bent_burst_is_none_and_no_longer_straight(bursts, monkeypatch):
    from darc.training import variation

    monkeypatch.setattr(variation, "BENT", 1.0)
    images, target = bursts
    changed, wanted = variation.bent(images, target)
    # what is no burst, and what holds none that is seen, stays
    assert wanted.tolist() == [0, 0, 1]
    assert torch.equal(changed[1:], images[1:])
    places = changed[0, 0].argmax(1)
    assert places.max() - places.min() >= 2
    assert changed[0].sum() == pytest.approx(float(images[0].sum()), rel=1e-5)


def test_varied_images_keep_their_burst_and_scatter(bursts):
    from darc.training import variation

    seen = variation.varied(bursts[0])
    assert seen.shape == bursts[0].shape
    assert not torch.equal(seen, bursts[0])
    assert abs(int(seen[0, 0].sum(0).argmax()) - 31.5) < 2
