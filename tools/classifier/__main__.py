"""`python -m tools.classifier`: train the sample model, unless somebody just did."""

import sys

from config.settings import settings
from tools.classifier import modelfile, shelf
from tools.classifier.training import train


def main() -> int:
    try:
        examples, path = shelf.sample()
        with shelf.alone(path) as missing:
            if missing:
                modelfile.write(
                    train(examples, precision=settings().classifier.precision).model, path
                )
    except (modelfile.ModelUnusable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
