"""What a study may say of its models: variants with options and training choices of their own."""

import numpy as np
import pytest

from bids_sexclf import catalogue, models, settings
from bids_sexclf.cohort.maps import ENTRIES
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training.schedule import factor

SMALL = {"design": "vit", "patch": [8, 8, 8], "depth": 2, "epochs": 3}


def test_variants_come_from_a_table_or_from_a_flag(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        'models = ["small"]\n[variants.small]\ndesign = "vit"\npatch = [8, 8, 8]\ndepth = 2\n'
        "epochs = 3\n"
    )
    given = {"small": SMALL}
    assert settings.build(Study, settings.find_study(str(path)), path).variants == given
    flag = '{"small": {"design": "vit", "patch": [8, 8, 8], "depth": 2, "epochs": 3}}'
    assert settings.build(Study, {"variants": flag}, "the flags").variants == given
    with pytest.raises(InputError, match="needed JSON"):
        settings.build(Study, {"variants": "{vit"}, "the flags")


def test_a_variant_replaces_training_choices_of_its_own_and_of_nobody_else():
    study = Study(models=["small", "cnn3"], variants={"small": SMALL}, batch_size=5)
    design, options, own = study.variant("small")
    assert (design, options) == ("vit", {"patch": [8, 8, 8], "depth": 2})
    assert (own.epochs, own.batch_size, study.epochs) == (3, 5, 30)
    assert study.variant("cnn3") == ("cnn3", {}, study)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"models": ["unet_brain"]}, "'unet_brain'.*voxels"),
        ({"models": ["big"], "variants": {"small": SMALL}}, "'big'.*cnn3.*small"),
        ({"variants": {"a": {"design": "vitt"}}}, "'vitt'.*Did you mean 'vit'"),
        ({"variants": {"a": {"design": "cnn3", "droput": 0.1}}}, "droput.*Did you mean 'dropout'"),
        ({"variants": {"a": {"design": "cnn3", "epoch": 1}}}, "epoch.*Did you mean 'epochs'"),
        ({"variants": {"brain_size": {"depth": 1}}}, "depth.*takes no options"),
        ({"variants": {"cnn3": {"design": "vit"}}}, "needed a name that no entry"),
        ({"target": "age", "baselines": ["age_only"]}, "'age' for 'age_only'.*median_age"),
        ({"target": "age", "models": ["logistic"]}, "'age' for 'logistic'.*ridge"),
        ({"models": ["ridge"]}, "'sex' for 'ridge'.*logistic"),
    ],
)
def test_a_study_that_cannot_be_fitted_is_refused_before_the_first_stage(choices, words):
    with pytest.raises(InputError, match=words):
        models.check(Study(**choices))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"variants": {"a": {"design": "cnn3", "epochs": 0}}}, "variants: a.epochs: found 0"),
        ({"variants": {"a b": {"design": "cnn3"}}}, "letters, digits"),
        ({"loss": "mse"}, "target sex needs loss cross_entropy"),
        (
            {"target": "age", "variants": {"a": {"design": "cnn3", "choose_by": "auc"}}},
            "mae in the variant 'a'",
        ),
        ({"crop": [8, 8]}, "three sizes"),
        ({"maps": ["FA+"]}, "joined by"),
    ],
)
def test_choices_that_cannot_be_are_refused_with_their_place(choices, words):
    with pytest.raises(InputError, match=words):
        settings.build(Study, choices, "the study")


def test_options_change_the_network_that_is_fitted():
    study = Study(variants={"dry": {"design": "cnn3", "dropout": 0.0}})
    classifier = models.make(study, "dry")
    assert classifier.build(grid=(22, 22, 22), **classifier.options).head[1].p == 0.0


def test_shuffled_follows_a_variant():
    study = Study(models=["dry"], variants={"dry": {"design": "cnn3", "dropout": 0.0, "epochs": 2}})
    network = models.make(study, "shuffled").network
    assert (network.design, network.options) == ("shuffled-cnn3", {"dropout": 0.0})
    assert network.study.epochs == 2


def test_maps_read_together_are_each_asked_for_once():
    assert Study(maps=["FA+MD", "T1w", "MD"]).single_maps == ["FA", "MD", "T1w"]


@pytest.mark.parametrize("how", ["voxel", "map", "none"])
def test_channels_are_each_standardised_by_themselves(how):
    """Units of a map must not matter: a factor that is exact in binary changes no bit."""
    from bids_sexclf.volumes import Channels, Rows

    rng = np.random.default_rng(0)
    maps = [rng.normal(5, 1, (12, 22, 22, 22)).astype(np.float32) for _ in range(2)]
    target = np.tile([0, 1], 6)
    answers = []
    for unit in (1, 4 if how != "none" else 1):
        rows = [Rows(one, range(12)) for one in (maps[0], unit * maps[1])]
        both = Channels(rows)
        fitted = models.make(Study(epochs=1, standardize=how), "cnn3")
        fitted.fit(both, target, (both, target), seed=0)
        answers.append(fitted.evidence(both))
        with pytest.raises(InputError, match="needed .2, 22"):
            fitted.evidence(rows[0])
    np.testing.assert_array_equal(*answers)
    assert fitted.module.network.features[0].in_channels == 2


def test_methods_text_tells_what_a_variant_chooses():
    from bids_sexclf.report import methods

    study = Study(models=["cnn3", "small"], variants={"small": {"design": "sfcn", "epochs": 3}})
    assert "Models: cnn3 [@xin2019], small (sfcn, epochs 3) [@peng2021]." in methods.write_methods(
        study
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in settings.STUDIES.glob("*.toml")))
def test_every_preset_names_what_exists(name):
    study = settings.build(Study, settings.find_study(name), name)
    models.check(study)
    assert set(study.models) <= {*catalogue.names("bids_sexclf.models"), *study.variants}
    assert set(study.single_maps) <= set(ENTRIES)


def test_presets_hold_the_published_training_values():
    kan, bags = (
        settings.build(Study, settings.find_study(name), name)
        for name in ("kan2020", "pawlowski2019")
    )
    assert (kan.optimizer, kan.learning_rate, kan.epochs, kan.batch_size) == ("adam", 3e-4, 20, 45)
    assert [factor(kan, epoch) for epoch in (0, 5, 15)] == pytest.approx([1, 0.1, 0.01])
    assert bags.batch_size * bags.accumulate == 16 and bags.crop == [128, 160, 160]
    assert factor(bags, 499) == pytest.approx(1e-4)
    assert {bags.variant(name)[1]["receptive_field"] for name in bags.models} == {9, 17, 33, 177}
