"""Benchmarks of the radiance field: a torch voxel grid as peer, a C++ twin of the kernel, and how training scales.

training     the job's training stages alone, with a diary of when each task ran; what the cases measure
torch_grid   a dense voxel grid in torch, written well
race         PSNR over time of both, as a table and a drawing
twin         the hot kernel in C++ (twin.cpp), compiled on the spot
cluster_model   rounds on many machines, simulated from measured rates
"""
