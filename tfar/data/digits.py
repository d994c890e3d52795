"""`digits`: the 1,797 8x8 images of handwritten digits bundled with scikit-learn.

The test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998, UCI): each
pixel is the number, 0 to 16, of set pixels in a 4x4 block of a 32x32 bitmap. Hence 17 levels.
"""

from tfar.data.source import Source, from_arrays


def open_source() -> Source:
    """Reads the data from the installed scikit-learn; no network.

    Returns:
        One split `all` of 1,797 examples, x [1797, 8, 8, 1] in 0 .. 16 and label 0 .. 9.
    """
    # Imported here: scikit-learn takes a second.
    from sklearn import datasets

    digits = datasets.load_digits()
    arrays = {"x": digits.images[..., None], "label": digits.target}
    names = tuple(str(name) for name in digits.target_names)
    return from_arrays({"all": arrays}, levels=17, num_labels=10, label_names=names)
