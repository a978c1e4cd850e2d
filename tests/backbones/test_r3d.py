"""R3D-18 against torchvision's own transform and network."""

import pytest
import torch
from public_files import features, load
from torchvision.models.video import R3D_18_Weights, mc3_18, r3d_18

from mm_fairseq.backbones import build
from mm_fairseq.errors import MMFairseqError


@pytest.fixture(scope="module")
def upstream():
    torch.manual_seed(3)
    return r3d_18(weights=None).eval()


@pytest.fixture(scope="module")
def file(upstream, tmp_path_factory):
    """In the form of torchvision's r3d_18-b3b3357e.pth."""
    path = tmp_path_factory.mktemp("r3d") / "r3d_18.pth"
    torch.save(upstream.state_dict(), path)
    return path


def frames(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, number, 3, 64, 64), generator=generator, dtype=torch.uint8)


def test_equals_torchvision(upstream, file):
    video = frames(7)
    clip = R3D_18_Weights.KINETICS400_V1.transforms()(video[0])  # C x T x H x W
    body = torch.nn.Sequential(*list(upstream.children())[:-1])
    with torch.no_grad():
        expected = torch.stack([body(clip[:, first : first + 4][None]).flatten() for first in (0, 2, 3)])
    found = features(load("video", f"r3d_18:{file},window=4,hop=2"), "video", video)[0]
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("number", "starts"), [(1, [0]), (16, [0]), (17, [0, 1]), (24, [0, 8]), (25, [0, 8, 9])])
def test_windows(number, starts):
    model = build({"name": "r3d_18", "args": {}})
    model._pictures = lambda x: x[:, :, 0, 0].float().T
    model._encode = lambda windows: torch.stack([window[0, :1].expand(512) for window in windows])
    x = torch.arange(number).byte()[None, :, None, None, None].expand(1, -1, 3, 8, 8)
    out = model(x, torch.zeros(1, number, dtype=torch.bool))
    assert out.x[0, :, 0].tolist() == starts
    assert len(starts) == max(1, -(-(number - 16) // 8) + 1)
    assert model.longest_input(len(starts)) >= number


@pytest.mark.parametrize(("number", "starts"), [(4, [0]), (5, [0, 1]), (11, [0, 7]), (12, [0, 7, 8])])
def test_windows_with_gaps(number, starts):
    model = build({"name": "r3d_18", "args": {"window": 4, "hop": 7}})
    model._pictures = lambda x: x[:, :, 0, 0].float().T
    model._encode = lambda windows: torch.stack([window[0, :1].expand(512) for window in windows])
    x = torch.arange(number).byte()[None, :, None, None, None].expand(1, -1, 3, 8, 8)
    assert model(x, torch.zeros(1, number, dtype=torch.bool)).x[0, :, 0].tolist() == starts
    assert model.longest_input(len(starts)) >= number > model.longest_input(len(starts) - 1)


def test_batch_of_clips_that_are_shorter_than_a_window(file):
    model = load("video", f"r3d_18:{file}")
    x, mask = torch.cat([frames(3), frames(3, 1)]), torch.tensor([[False] * 3, [False, True, True]])
    with torch.no_grad():
        out = model({"video": x}, {"video": mask})["video"]
    assert not out.padding_mask.any()
    torch.testing.assert_close(out.x[:1], features(model, "video", x[:1]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.x[1:], features(model, "video", x[1:, :1]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("args", [{"window": 0}, {"hop": 0}, {"window": 4, "hop": -1}, {"window": "all"}])
def test_arguments_that_do_not_fit(args):
    with pytest.raises(MMFairseqError, match="r3d_18"):
        build({"name": "r3d_18", "args": args})


def test_wrong_files(file, tmp_path, checkpoints):
    path = tmp_path / "other.pth"
    torch.save(mc3_18(weights=None).state_dict(), path)
    with pytest.raises(MMFairseqError, match=r"other\.pth: weights do not fit"):
        load("video", f"r3d_18:{path}")
    state = torch.load(file, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "layer3.0.conv1.1.running_mean"}, path)
    with pytest.raises(MMFairseqError, match=r"other\.pth: weights do not fit"):
        load("video", f"r3d_18:{path}")
    torch.save({**state, "stem.0.weight": state["stem.0.weight"][:45]}, path)
    with pytest.raises(MMFairseqError, match=r"other\.pth: not R3D-18.*\(45, 3, 3, 7, 7\)"):
        load("video", f"r3d_18:{path}")
    path.write_bytes(file.read_bytes()[:100000])
    with pytest.raises(MMFairseqError, match=r"other\.pth: not a readable checkpoint"):
        load("video", f"r3d_18:{path}")
    with pytest.raises(MMFairseqError, match=r"fabnet\.pt: no weights named stem"):
        load("video", f"r3d_18:{checkpoints}/fabnet/fabnet.pt")
