"""Foreground of photos that have poses and no masks: the subject is what all photos can agree on.

Nobody says what the subject is. Three things are known all the same: the cameras look at it, it is all in the picture
in most photos, and it is one solid thing, so its silhouettes must be those of one shape. Each photo alone leaves many
ways to cut it in two by colour; hardly any of them is the silhouette of a shape that the other photos would allow.

    colours   how likely a pixel's colour is in the subject, and how likely in this photo's surroundings
    hull      what all photos' colours together say of each point in space (Franco & Boyer 2005), seen from each camera
    find      in turns: shape from colours, silhouettes from shape and colours, colours from silhouettes (as Lee, Woo &
              Boyer 2011, "Silhouette segmentation in multiple views"), coarse first; then whether to believe it
    outline   where exactly a silhouette ends

Arrays in, arrays out; no files. `nerf_plugin.datasets` reads photos for it and writes the masks.
"""

from nerf_plugin.foreground.find import Foreground, find

__all__ = ["Foreground", "find"]
