"""Small feature files in the forms of MulT and MMSA, and what `prepare` must make of them."""

import pickle

import numpy as np

COUNTS = {"train": 5, "valid": 3, "test": 4}
FRAMES = {"text": 6, "audio": 10, "vision": 8}
DIMS = {"text": 3, "audio": 2, "vision": 4}


def mult(front=False, aligned=False, emotions=False):
    """A file of MulT, and the arrays without padding: {split: [{key: (T, D)}]}."""
    rng = np.random.default_rng(0)
    content, real = {}, {}
    for split, count in COUNTS.items():
        frames = dict.fromkeys(FRAMES, 6) if aligned else FRAMES
        part = {key: np.zeros((count, size, DIMS[key]), np.float32) for key, size in frames.items()}
        real[split] = []
        for row in range(count):
            words = int(rng.integers(2, 7))
            rows = {}
            for key, size in frames.items():
                length = words if aligned else int(rng.integers(2, size + 1))
                rows[key] = rng.normal(size=(length, DIMS[key])).astype(np.float32)
                if key == "vision" and length > 2:
                    rows[key][1] = 0  # no face in the middle
                place = slice(size - length, size) if front else slice(0, length)
                part[key][row, place] = rows[key]
            real[split].append(rows)
        if emotions:
            yes = rng.integers(0, 2, (count, 4))
            part["labels"] = np.stack([1 - yes, yes], 2)
        else:
            part["labels"] = rng.uniform(-3, 3, (count, 1, 1)).astype(np.float32)
            part["id"] = np.array([[f"{split}{row // 2}", str(row), str(row + 1)] for row in range(count)])
        content[split] = part
    return content, real


def mmsa(content):
    """The same in the form of MMSA."""
    out = {}
    for split, part in content.items():
        count = len(part["labels"])
        out[split] = {key: part[key] for key in FRAMES} | {
            "raw_text": [f"{split} says &amp; {row}" for row in range(count)],
            "id": [f"{split}{row // 2}$_${row % 2}" for row in range(count)],
            "annotations": ["Positive"] * count,
            "classification_labels": np.zeros(count),
            "regression_labels": part["labels"].reshape(-1),
            **{f"regression_labels_{letter}": np.full(count, place, np.float32) for place, letter in enumerate("TAV")},
        }
    return out


def saved(tmp_path, content, name="a.pkl"):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(content, 4))
    return path


def arrays_of(parsed, folder):
    """What `prepare` would write, {split: [{modality: array}]}."""
    folder.mkdir()
    found = {}
    for number, row in enumerate(parsed.manifest.utterances):
        path = folder / f"{number}.npz"
        parsed.files[row.features](path)
        with np.load(path, allow_pickle=False) as arrays:
            found.setdefault(row.split, []).append(dict(arrays))
    return found


def check_arrays(found, real):
    names = {"audio": "audio", "text": "text", "video": "vision"}
    for split, rows in real.items():
        for ours, theirs in zip(found[split], rows, strict=True):
            assert sorted(ours) == sorted(names)
            for name, key in names.items():
                assert ours[name].dtype == np.float32
                assert np.array_equal(ours[name], theirs[key])
