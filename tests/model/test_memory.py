import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.memory import ANCHOR, ConvMemory, FoldWeights, chain_windows, fold_tokens

policies = st.builds(
    MemoryPolicy,
    sink=st.integers(0, 3),
    folded=st.integers(1, 3),
    recent=st.integers(0, 9),
    ratio=st.integers(2, 6),
)


def make_memory(policy=None, size=3, heads=2, width=4, steps=(0,), layers=1, fold=None, seed=0):
    policy = policy or MemoryPolicy()
    if fold is None:
        g = torch.Generator().manual_seed(seed)
        weights = torch.randn(2, policy.ratio, heads, width, generator=g)
        fold = FoldWeights(weights[0], weights[1])
    return ConvMemory(
        policy, size, [fold] * layers, steps=steps, heads=heads, head_dim=width,
        dtype=torch.float32, device=torch.device("cpu"),
    )  # fmt: skip


def keys_of(policy, chunk, size, heads=2, width=4):
    g = torch.Generator().manual_seed(100 + chunk)
    shape = (2, 1, policy.chunk_size(chunk) * size, heads, width)
    return torch.randn(shape, generator=g)


def test_slots_hold_the_released_frames():
    """One token a frame, whose value is the frame's number; the fold takes the mean."""
    policy = MemoryPolicy()
    layer = make_memory(size=1, heads=1, width=1, fold=FoldWeights(None, None)).bank(0).layer(0)
    frames = torch.arange(30.0).view(1, -1, 1, 1)

    def append(start, stop):
        k, _ = layer.append(frames[:, start:stop], frames[:, start:stop])
        return k.flatten().tolist()

    assert append(0, 6) == [0, 1, 2, 3, 4, 5]
    assert append(6, 14) == list(range(14))
    # Slots 2..6 and 7..11 fold to one each; 12 and 13 are the recent ones.
    assert append(14, 22) == [0, 1, 4, 9, 12, 13, *range(14, 22)]
    # Slots 2..6 now hold 4, 9, 12, 13, 14: the past folds again and again.
    assert append(22, 30) == [0, 1, pytest.approx(10.4), 17, 20, 21, *range(22, 30)]
    assert layer.filled == policy.window


def test_the_fold_is_a_depthwise_convolution_over_tokens():
    x, weight = torch.randn(2, 20, 3, 4), torch.randn(5, 3, 4)
    channels = x.flatten(2).transpose(1, 2)
    kernel = weight.flatten(1).t().unsqueeze(1)
    expected = torch.nn.functional.conv1d(channels, kernel, stride=5, groups=12).transpose(1, 2)
    torch.testing.assert_close(fold_tokens(x, weight, 5).flatten(2), expected)


@given(policies, st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_policy_remembers_what_the_chain_sees(policy, size, chunks):
    memory = make_memory(policy, size)
    layer = memory.bank(0).layer(0)
    parts = [keys_of(policy, chunk, size) for chunk in range(chunks)]
    whole = torch.cat(parts, 2)
    keys = chain_windows(whole[0], policy, size, layer.fold.k)
    values = chain_windows(whole[1], policy, size, layer.fold.v)
    for chunk, (k, v) in enumerate(parts):
        k_all, v_all = layer.append(k, v)
        torch.testing.assert_close(k_all, keys[chunk])
        torch.testing.assert_close(v_all, values[chunk])
        assert torch.equal(k_all[:, -k.shape[1] :], k)
        assert torch.equal(k_all[:, : policy.sink * size], whole[0][:, : policy.sink * size])


@given(policies, st.integers(1, 3), st.sampled_from([1, 2, 3, 6]))
@settings(max_examples=40, deadline=None)
def test_folding_by_heads_equals_folding_whole(policy, size, ranks):
    """Ulysses splits the memory by heads; because the fold is depth-wise that changes nothing."""
    heads = 6
    g = torch.Generator().manual_seed(1)
    fold = FoldWeights(*torch.randn(2, policy.ratio, heads, 4, generator=g))
    whole = make_memory(policy, size, heads, fold=fold).bank(0).layer(0)
    shares = [slice(r * heads // ranks, (r + 1) * heads // ranks) for r in range(ranks)]
    split = [
        make_memory(
            policy, size, heads // ranks, fold=FoldWeights(fold.k[:, share], fold.v[:, share])
        )
        .bank(0)
        .layer(0)
        for share in shares
    ]
    for chunk in range(4):
        k, v = keys_of(policy, chunk, size, heads)
        k_all, v_all = whole.append(k, v)
        parts = [
            layer.append(k[:, :, share], v[:, :, share])
            for layer, share in zip(split, shares, strict=True)
        ]
        # The same sums; only the order in which a processor adds five products may differ.
        torch.testing.assert_close(torch.cat([k for k, _ in parts], 2), k_all)
        torch.testing.assert_close(torch.cat([v for _, v in parts], 2), v_all)


def test_bytes_stay_the_same_over_500_chunks():
    # The mean neither grows nor shrinks; random weights would overflow in so many folds.
    memory = make_memory(steps=(0, 1, 2), layers=2, fold=FoldWeights(None, None))
    before, new = memory.nbytes, [keys_of(memory.policy, chunk, 3) for chunk in (0, 1)]
    buffers = [layer.k.data_ptr() for bank in memory.banks.values() for layer in bank.layers]
    for chunk in range(500):
        for bank in memory.banks.values():
            for layer in bank.layers:
                k_all, _ = layer.append(*new[min(chunk, 1)])
                assert k_all.shape[1] == (6 if chunk == 0 else 14) * 3
    assert memory.nbytes == before == 3 * 2 * 14 * 3 * 2 * 4 * 2 * 4
    now = [layer.k.data_ptr() for bank in memory.banks.values() for layer in bank.layers]
    assert now == buffers
    assert sum(value.nbytes for value in memory.state().values()) == before * 6 // 14


@given(st.integers(0, 5))
@settings(deadline=None)
def test_a_saved_memory_goes_on_exactly(saved_after):
    policy, size = MemoryPolicy(), 2
    first, second = (make_memory(policy, size, steps=(0, 2), layers=2) for _ in range(2))

    def run(memory, chunks):
        return [
            memory.bank(step).layer(index).append(*keys_of(policy, chunk, size))[0].clone()
            for chunk in chunks
            for step in (0, 2)
            for index in range(2)
        ]

    run(first, range(saved_after))
    second.load_state(first.state())
    rest = range(saved_after, saved_after + 3)
    assert all(map(torch.equal, run(first, rest), run(second, rest)))


def test_the_anchor_of_a_saved_memory_never_changes():
    memory, size = make_memory(), 3
    anchors = []
    for chunk in range(3):
        memory.bank(0).layer(0).append(*keys_of(memory.policy, chunk, size))
        state = memory.state()
        anchors.append({name: v for name, v in state.items() if name.endswith(ANCHOR)})
        assert all(v.shape[1] == 2 * size for v in anchors[-1].values())
    assert len(anchors[0]) == len(state) // 2
    assert all(torch.equal(anchors[0][name], anchors[2][name]) for name in anchors[0])


def test_what_does_not_fit_is_refused():
    memory = make_memory()
    with pytest.raises(ValueError, match="chunk of 7 tokens does not fit: the memory expects 6"):
        memory.bank(0).layer(0).append(*torch.zeros(2, 1, 7, 2, 4))
    state = {name: torch.zeros(1, 7 * 3, 2, 4) for name in memory.state()}
    with pytest.raises(ValueError, match="42 tokens"):
        memory.load_state(state)
