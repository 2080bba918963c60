import pytest

from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.sources.class_names import ClassNames, read_classes


@pytest.fixture
def ctx(tmp_path):
    return Context(0, ModelTable("embedded"), DiskMemo(tmp_path / "memo"))


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "classes.csv"
        path.write_text(text)
        return str(path)

    return write


def test_every_stretch_has_all_classes_in_turn(ctx):
    source = ClassNames(table="fashion_mnist", per_class=3)
    samples = list(source.read(0, source.size(ctx), ctx))
    assert len(samples) == 30
    ids = [info.id for info in source.classes(ctx)]
    assert [sample.labels[0] for sample in samples] == ids * 3
    assert samples[13].extras == {"txt": b"dress"}
    assert samples[13].origin == "dress/1"
    assert all(sample.image == b"" for sample in samples)
    assert len({sample.id for sample in samples}) == 30
    assert list(source.read(7, 12, ctx)) == samples[7:12]
    assert list(source.read(28, 99, ctx)) == samples[28:]


def test_a_longer_plan_keeps_the_samples_of_a_shorter_one(ctx):
    few = ClassNames(table="fashion_mnist", only=("bag", "coat"), per_class=2)
    many = ClassNames(table="fashion_mnist", per_class=5)
    ids = {sample.id for sample in many.read(0, 50, ctx)}
    chosen = list(few.read(0, 9, ctx))
    assert [sample.origin for sample in chosen] == ["bag/0", "coat/0", "bag/1", "coat/1"]
    assert {sample.id for sample in chosen} <= ids
    assert few.classes(ctx) == many.classes(ctx)


def test_imagenet_is_the_default_and_goes_by_name_or_wnid(ctx):
    source = ClassNames(only=("tench", "n01443537", "n01440764"), per_class=1)
    assert source.classes(ctx) == class_infos()
    assert [sample.labels[0] for sample in source.read(0, 9, ctx)] == ["n01440764", "n01443537"]


def test_the_pin_is_of_the_table_and_not_of_its_place(ctx, table, tmp_path):
    first = ClassNames(table=table("id,name\na,apple\nb,bear\n"))
    pin = first.pin(ctx)
    other = tmp_path / "elsewhere.csv"
    other.write_text("name,id\napple,a\nbear,b\n")
    moved = ClassNames(table=str(other))
    assert moved.pin(ctx) == pin
    assert moved.fingerprint() == first.fingerprint()
    assert ClassNames(table=table("id,name\na,apple\nb,boar\n")).pin(ctx) != pin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\na,missile\nb,Missile\n", "2 classes of .* have the name 'missile'; it must be unique"),
        ("id,name\na,apple\na,bear\n", "2 classes of .* have the id 'a'"),
        ("id,title\na,apple\n", "must have the columns id and name"),
        ("id,name\na,\n", "with a value in every row"),
        ("id,name\n", "must have the columns"),
    ],
)
def test_a_table_that_would_mislabel_is_refused(ctx, table, text, message):
    with pytest.raises(SourceError, match=message):
        ClassNames(table=table(text)).classes(ctx)


def test_what_there_is_not_is_named_with_what_there_is(ctx):
    with pytest.raises(SourceError, match=r"table 'nowhere\.csv' can't be read .*; give imagenet, fashion_mnist, or"):
        read_classes("nowhere.csv")
    with pytest.raises(SourceError, match=r"no class 'hat' in the table fashion_mnist; there are: tshirt_top, trouser"):
        ClassNames(table="fashion_mnist", only=("hat",)).size(ctx)
