import torch

from liveact_cli.model.rope import rope_table


def complex_reference(x, head_dim, window, height, width):
    """Rotate as complex numbers in float64, one token after another."""
    side = 2 * (head_dim // 6)
    parts = (head_dim - 2 * side, side, side)
    out = torch.empty_like(x)
    for token in range(x.shape[1]):
        place = (token // (height * width), token // width % height, token % width)
        turns = [
            position * 10000.0 ** (-2.0 * pair / channels)
            for position, channels in zip(place, parts, strict=True)
            for pair in range(channels // 2)
        ]
        angles = torch.polar(
            torch.ones(len(turns), dtype=torch.float64), torch.tensor(turns).double()
        )
        pairs = torch.view_as_complex(x[0, token].double().unflatten(-1, (-1, 2)).contiguous())
        out[0, token] = torch.view_as_real(pairs * angles).flatten(-2).float()
    return out


def test_rotation_equals_complex_arithmetic():
    for head_dim, height, width in ((24, 4, 6), (48, 1, 5), (32, 1, 1), (128, 2, 3)):
        table = rope_table(head_dim, 14, height, width)
        x = torch.randn(1, 14 * height * width, 2, head_dim)
        expected = complex_reference(x, head_dim, 14, height, width)
        torch.testing.assert_close(table.rotate(x), expected, atol=2e-6, rtol=0)
        late = table.rotate(x[:, 6 * height * width :], 6 * height * width)
        assert torch.equal(late, table.rotate(x)[:, 6 * height * width :])


def test_rotation_keeps_the_precision_of_its_input():
    table = rope_table(12, 14, 1, 1)
    assert table.rotate(torch.randn(1, 14, 1, 12).bfloat16()).dtype == torch.bfloat16
