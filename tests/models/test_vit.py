"""The transformer and its pretraining: timm as the judge, and what hidden patches must not tell."""

import pytest
import torch
from torch import nn

from bids_sexclf import models
from bids_sexclf.errors import InputError
from bids_sexclf.training.encoders import inflate, load_encoder, resize_positions, save_encoder
from bids_sexclf.training.mae import MaskedAutoencoder, masked_loss
from bids_sexclf.training.transformer import DropPath, Encoder, sine_cosine

GRID, PATCH = (16, 24, 16), (4, 8, 8)
SMALL = {"channels": 1, "width": 24, "depth": 2, "heads": 2}


def encoder(grid=GRID, patch=PATCH, **options):
    torch.manual_seed(0)
    return Encoder(grid, patch, **(SMALL | options)).eval()


def test_encoder_of_images_answers_as_timms_transformer(tmp_path):
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    theirs = VisionTransformer(
        img_size=32, patch_size=8, in_chans=3, num_classes=5, embed_dim=24, depth=3, num_heads=2
    ).eval()
    nn.init.normal_(theirs.pos_embed)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    own = encoder((32, 32), (8, 8), channels=3, depth=3)
    load_encoder(own, tmp_path / "theirs.pth")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(own(images), theirs.forward_features(images))


def test_voxels_beyond_the_last_whole_patch_are_not_seen_or_filled_up():
    volume = torch.randn(1, 1, 18, 24, 16)
    other = volume.clone()
    other[:, :, 16:] += 1
    dropping, filling = (encoder((18, 24, 16), leftover=leftover) for leftover in ("drop", "pad"))
    assert (dropping.counts, filling.counts) == ((4, 3, 2), (5, 3, 2))
    with torch.no_grad():
        assert torch.equal(dropping(volume), dropping(other))
        assert not torch.allclose(filling(volume), filling(other))
    assert filling.whole_patches(volume).shape == (1, 1, 20, 24, 16)
    assert torch.equal(filling.whole_patches(volume)[:, :, 1:19], volume)


def test_published_grid_leaves_the_last_two_slices_out():
    with torch.device("meta"):
        assert models.build("vit").encoder.counts == (30, 14, 14)


@pytest.mark.parametrize(
    "options", [{"patch": (40, 8, 8)}, {"heads": 5}, {"leftover": "fold"}, {"depth": 0}]
)
def test_what_cannot_be_built_is_refused(options):
    with pytest.raises(InputError, match="needed"):
        models.build("vit", grid=(32, 32, 32), **(models.find("vit").TINY | options))


def test_the_head_reads_the_class_token_or_the_mean_of_all_patches():
    tiny, volumes = models.find("vit").TINY, torch.randn(2, 1, 32, 32, 32)
    told = {}
    for pool in ("class", "mean"):
        torch.manual_seed(0)
        network = models.build("vit", grid=(32, 32, 32), pool=pool, **tiny).eval()
        with torch.no_grad():
            tokens, told[pool] = network.encoder(volumes), network(volumes)
            read = tokens[:, 0] if pool == "class" else tokens[:, 1:].sum(1) / 64
            torch.testing.assert_close(told[pool], network.head(read))
    assert not torch.allclose(told["class"], told["mean"])
    with pytest.raises(InputError, match="needed one of class, mean"):
        models.build("vit", grid=(32, 32, 32), pool="max", **tiny)


# Arms of training


def test_linear_probe_trains_the_head_and_nothing_else():
    tiny = models.find("vit").TINY
    network = models.build("vit", grid=(32, 32, 32), drop_path=0.5, frozen=True, **tiny).train()
    network(torch.randn(2, 1, 32, 32, 32)).sum().backward()
    learning = {name for name, weights in network.named_parameters() if weights.grad is not None}
    assert learning == {"head.weight", "head.bias"}
    assert not network.encoder.training and network.training


def test_every_parameter_has_a_layer_and_layers_rise_towards_the_output():
    network = models.build("vit", grid=(32, 32, 32), **models.find("vit").TINY)
    layers = [network.layer_of(name) for name, _ in network.named_parameters()]
    assert set(layers) == set(range(network.n_layers)) == {0, 1, 2, 3}
    assert network.layer_of("encoder.norm.weight") == network.layer_of("head.bias") == 3
    assert network.layer_of("encoder.blocks.0.attn.qkv.weight") == 1


def test_dropped_paths_keep_the_mean_and_rise_with_depth():
    torch.manual_seed(0)
    drop, tokens = DropPath(0.25).train(), torch.ones(4000, 1, 1)
    kept = drop(tokens)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    # Binomial: standard error of the share of zeros is 0.007.
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.028)
    assert torch.equal(drop.eval()(tokens), tokens)
    rates = [block.drop_path1.rate for block in encoder(depth=3, drop_path=0.2).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


# Positions


def test_positions_stay_the_same_on_the_same_grid_and_linear_on_another():
    ramp = torch.linspace(0, 1, 4)[:, None, None].expand(4, 2, 2).reshape(1, 16, 1)
    positions = torch.cat([torch.full((1, 1, 1), 7.0), ramp], 1)
    assert resize_positions(positions, (4, 2, 2), (4, 2, 2)) is positions
    finer = resize_positions(positions, (4, 2, 2), (8, 2, 2))
    assert finer[0, 0, 0] == 7
    steps = finer[0, 1:].reshape(8, 2, 2)[:, 0, 0].diff()
    torch.testing.assert_close(steps[1:-1], torch.full((5,), 1 / 6))


def test_fixed_positions_tell_all_patches_apart_and_need_no_training():
    for counts in [(5, 7), (4, 5, 7)]:
        positions = sine_cosine(counts, 24)[0]
        distance = torch.cdist(positions, positions) + 99 * torch.eye(len(positions))
        assert distance.min() > 0.05
        assert torch.equal(positions[0], torch.zeros(24))


def test_an_encoder_moves_to_another_grid_with_its_weights(tmp_path):
    before = encoder()
    save_encoder(before, tmp_path / "before.safetensors")
    same, other = encoder(), encoder((20, 32, 24))
    for moved in (same, other):
        nn.init.zeros_(moved.cls_token)
        load_encoder(moved, tmp_path / "before.safetensors")
    volume = torch.randn(1, 1, *GRID)
    with torch.no_grad():
        assert torch.equal(before(volume), same(volume))
    state = {name: value for name, value in other.state_dict().items() if name != "pos_embed"}
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in state.items())
    with pytest.raises(InputError, match="blocks.0.attn.proj.bias"):
        load_encoder(encoder(width=48), tmp_path / "before.safetensors")


# Masked autoencoder


def autoencoder(grid=GRID, patch=PATCH, normalize=True, **options):
    own = encoder(grid, patch, **options)
    return MaskedAutoencoder(own, width=16, depth=1, heads=2, normalize=normalize).eval()


@pytest.mark.parametrize(("grid", "patch"), [(GRID, PATCH), (GRID[1:], PATCH[1:])])
def test_three_quarters_are_hidden_and_the_draw_is_the_generators(grid, patch):
    model = autoencoder(grid, patch)
    volumes = torch.randn(3, 1, *grid)

    def hidden(seed):
        return model.predict(volumes, torch.Generator().manual_seed(seed))[1]

    n_patches = len(hidden(0)[0])
    assert hidden(0).sum(1).tolist() == [n_patches - int(n_patches * 0.25)] * 3
    assert torch.equal(hidden(0), hidden(0)) and not torch.equal(hidden(0), hidden(1))
    assert not torch.equal(hidden(0)[0], hidden(0)[1])


def fill_patches(model, volumes, chosen, value):
    """Change the voxels of the chosen patches (batch, patches)."""
    field = chosen.reshape(-1, *model.encoder.counts)
    for axis, size in enumerate(model.encoder.patch):
        field = field.repeat_interleave(size, 1 + axis)
    return torch.where(field[:, None], value, volumes)


def test_the_encoder_never_sees_a_hidden_patch():
    model, volumes = autoencoder(), torch.randn(2, 1, *GRID)
    with torch.no_grad():
        prediction, hidden = model.predict(volumes, torch.Generator().manual_seed(0))
        changed = fill_patches(model, volumes, hidden, 1e6)
        assert not torch.equal(changed, volumes)
        again, _ = model.predict(changed, torch.Generator().manual_seed(0))
        assert torch.equal(prediction, again)
        seen = fill_patches(model, volumes, ~hidden, 1.0)
        other, _ = model.predict(seen, torch.Generator().manual_seed(0))
    assert not torch.allclose(prediction, other)


def test_what_a_visible_patch_held_does_not_count_in_the_loss():
    model, volumes = autoencoder(), torch.randn(2, 1, *GRID)
    with torch.no_grad():
        prediction, hidden = model.predict(volumes, torch.Generator().manual_seed(0))
        loss = masked_loss(prediction, model.targets(volumes), hidden)
        visible = fill_patches(model, volumes, ~hidden, torch.randn(volumes.shape))
        assert torch.equal(loss, masked_loss(prediction, model.targets(visible), hidden))
        one = hidden.nonzero()[0]
        some = torch.zeros_like(hidden)
        some[one[0], one[1]] = True
        other = fill_patches(model, volumes, some, torch.randn(volumes.shape))
        assert not torch.equal(loss, masked_loss(prediction, model.targets(other), hidden))


def test_patches_are_cut_where_the_encoder_cuts_them_and_standardised():
    model, volumes = autoencoder(channels=2), 5 + 3 * torch.randn(2, 2, *GRID)
    patches = model.targets(volumes)
    assert patches.shape == (2, 4 * 3 * 2, 2 * 4 * 8 * 8)
    cut = volumes[1, 1, 4:8, 16:24, 8:16].flatten()  # patch (1, 2, 1), second map
    expected = (cut - cut.mean()) / cut.std(correction=0)
    torch.testing.assert_close(patches[1, 1 * 6 + 2 * 2 + 1, 256:], expected, rtol=1e-4, atol=1e-4)
    empty = model.targets(torch.zeros(1, 2, *GRID))
    assert torch.equal(empty, torch.zeros_like(empty))


def test_patches_that_are_not_normalised_are_foretold_with_their_brightness():
    model, volumes = autoencoder(normalize=False, channels=2), 5 + torch.randn(2, 2, *GRID)
    cut = volumes[1, :, 4:8, 16:24, 8:16].flatten()  # patch (1, 2, 1), both maps
    assert torch.equal(model.targets(volumes)[1, 1 * 6 + 2 * 2 + 1], cut)
    usual = autoencoder(channels=2).targets(volumes)
    torch.testing.assert_close(usual, autoencoder(channels=2).targets(volumes + 3))
    assert not torch.allclose(model.targets(volumes), model.targets(volumes + 3))


def test_positions_are_fixed_in_pretraining_and_learn_afterwards():
    model = autoencoder().train()
    model(torch.randn(2, 1, *GRID), torch.Generator().manual_seed(0)).backward()
    assert model.encoder.pos_embed.grad is None
    assert torch.equal(model.encoder.pos_embed, sine_cosine(model.encoder.counts, 24))
    encoder = model.release()
    encoder(torch.randn(1, 1, *GRID)).sum().backward()
    assert encoder.pos_embed.grad is not None


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.99])
def test_a_ratio_that_hides_all_or_nothing_is_refused(ratio):
    with pytest.raises(InputError, match="hides"):
        MaskedAutoencoder(encoder(), ratio=ratio)


def waves(n, grid, seed):
    """Draw volumes of one smooth wave each, whose hidden parts the visible ones tell."""
    torch.manual_seed(seed)
    axes = torch.meshgrid(*(torch.arange(length) / 8 for length in grid), indexing="ij")
    phase, slope = 6 * torch.rand(n, 1), torch.randn(n, len(grid))
    field = sum(slope[:, at].reshape(-1, *[1] * len(grid)) * axis for at, axis in enumerate(axes))
    return torch.sin(field + phase.reshape(-1, *[1] * len(grid)))[:, None]


@pytest.mark.parametrize(("grid", "patch"), [(GRID, PATCH), ((32, 32), (8, 8))])
def test_reconstruction_of_unseen_volumes_gets_better(grid, patch):
    model, unseen = autoencoder(grid, patch), waves(16, grid, seed=1)

    def error():
        with torch.no_grad():
            return model.eval()(unseen, torch.Generator().manual_seed(0)).item()

    before = error()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(60):
        optimizer.zero_grad()
        model.train()(waves(16, grid, seed=100 + step), generator).backward()
        optimizer.step()
    assert error() < 0.9 * before


# From slices to volumes


def test_inflated_encoder_answers_on_alike_slices_as_on_the_slice():
    flat = encoder((24, 16), (8, 8))
    solid = inflate(flat, (4, 24, 16), 4)
    image = torch.randn(2, 1, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(solid(image.unsqueeze(2).expand(-1, -1, 4, -1, -1)), flat(image))


def test_inflated_embedding_is_the_slices_own_in_every_layer_of_patches():
    flat = encoder((24, 16), (8, 8))
    solid = inflate(flat, (12, 24, 16), 4)
    image = torch.randn(1, 1, 24, 16)
    with torch.no_grad():
        expected = flat.patch_embed(image)
        found = solid.patch_embed(image.unsqueeze(2).expand(-1, -1, 12, -1, -1))
    for layer in range(3):
        torch.testing.assert_close(found[:, :, layer], expected)
    positions = solid.pos_embed[0, 1:].reshape(3, 6, 24)
    assert all(torch.equal(positions[0], other) for other in positions)


def test_fixed_positions_of_volumes_differ_from_inflated_ones_by_the_slice_alone():
    model = MaskedAutoencoder(encoder((24, 16), (8, 8)), width=16, depth=1, heads=2)
    solid = inflate(model.encoder, (12, 24, 16), 4)
    inflated = solid.pos_embed.detach().clone()[0, 1:].reshape(3, 6, 24)
    MaskedAutoencoder(solid, width=16, depth=1, heads=2)
    added = solid.pos_embed.detach()[0, 1:].reshape(3, 6, 24) - inflated
    torch.testing.assert_close(added, added[:, :1].expand_as(added))
    assert (added[0] - added[1]).abs().max() > 0.1


def test_an_encoder_of_slices_starts_a_transformer_of_volumes(tmp_path):
    save_encoder(encoder((24, 16), (8, 8)), tmp_path / "slices.safetensors")
    options = {"patch": (4, 8, 8), "width": 24, "depth": 2, "heads": 2}
    network = models.build(
        "vit", grid=(12, 32, 16), weights=tmp_path / "slices.safetensors", **options
    )
    assert network.encoder.patch_embed.weight.shape == (24, 1, 4, 8, 8)
    torch.testing.assert_close(
        network.encoder.patch_embed.weight.sum(2), encoder((24, 16), (8, 8)).patch_embed.weight
    )
