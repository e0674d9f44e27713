"""Job types that come with DAF, one file each; every one uses the public API of `mapreduce` and nothing else."""
