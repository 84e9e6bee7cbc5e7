"""How good and how small are networks of binary 3x3 kernels on CIFAR-10?  All 10,000 test images.

    SEPNET_DATA=... python benchmarks/cifar10.py                       which rows there are
    SEPNET_DATA=... python benchmarks/cifar10.py resnet20-pattern      run one, or go on where it was interrupted
    SEPNET_DATA=... python benchmarks/cifar10.py resnet20-talk --epochs 5 --threads 2

A row is a network, the float weights it starts from, and a recipe.  Checkpoints, weights and logs lie in
$SEPNET_RUNS/cifar10/ (runs/ by default), what another machine goes on from in resume/, results and curves in results/,
packed files of the rows that have a place there in zoo/.  `--epochs`, `--threads` and `--device` are those of the
command line; the result says how many epochs there were and on which machine.

The float ResNets are public ones, trained on all 50,000 training images ($SEPNET_DATA/weights); SEP-Net is trained here.
"""

from __future__ import annotations

from rows import Row, main

TRAIN = ("lr=0.1", "batch=128", "warmup=1", "weight_decay=5e-4", "shift=4", "mirror=true")

ROWS = {
    **{
        f"resnet{depth}-talk": Row(f"resnet{depth}_cifar", f"cifar10_resnet{depth}.safetensors", "talk-pattern")
        for depth in (20, 32, 44, 56)
    },
    **{
        f"resnet{depth}-pattern": Row(
            f"resnet{depth}_cifar",
            f"cifar10_resnet{depth}.safetensors",
            "resnet-cifar10-pattern",
            "" if depth == 20 else f"resnet{depth}-cifar10-pattern",
        )
        for depth in (20, 32, 44, 56)
    },
    **{
        f"resnet{depth}-signs": Row(
            f"resnet{depth}_cifar",
            f"cifar10_resnet{depth}.safetensors",
            "resnet-cifar10-signs",
            f"resnet{depth}-cifar10-signs",
        )
        for depth in (20, 56)
    },
    "resnet20-again": Row(
        "resnet20_cifar", "again:resnet20-pattern", "resnet-cifar10-pattern-again", "resnet20-cifar10-pattern"
    ),
    "resnet20-dictionary": Row("resnet20_cifar", "again:resnet20-again", "resnet-cifar10-dictionary"),
    "resnet20-dictionary-again": Row(
        "resnet20_cifar", "again:resnet20-dictionary", "resnet-cifar10-dictionary-again", "resnet20-cifar10-dictionary"
    ),
    "resnet20-small": Row(
        "resnet20_cifar", "cifar10_resnet20.safetensors", "resnet-cifar10-small", "resnet20-cifar10-small", best=True
    ),
    "sepnet-r": Row("sepnet_cifar", "train:30", "sepnet-r", "sepnet-cifar10-r", train=TRAIN),
    "sepnet-b": Row("sepnet_cifar", "train:30", "sepnet-b", "sepnet-cifar10-b", train=TRAIN),
    "sepnet-bq": Row("sepnet_cifar", "again:sepnet-b", "sepnet-bq-again", "sepnet-cifar10-bq"),
}

if __name__ == "__main__":
    main(ROWS, __doc__)
