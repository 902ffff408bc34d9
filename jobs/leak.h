/* leak.h - do the maps tell the label? Where masks of real and of fake faces differ in size or place, a detector that is trained
 * with them learns to read the mask instead of the face. */
#pragma once
#include "augment/faces.h"
#include "augment/maps.h"

/**
 * How well the maps alone, without a pixel of the image, tell fakes from reals: the AUC of a linear rule (diagonal LDA:
 * difference of the classes' means over the sum of their variances) on the share that each cell of an 8 x 8 grid has of the map,
 * fitted on one half of the people (videos, where people are unknown) and tried on the other, both ways. 0.5: not at all; 1:
 * wholly. NaN where a half lacks a class.
 *
 * index  [n] images to look at, NULL: all; those without a map are passed over, and of more than 4,000 as many are taken, evenly
 */
PRLE_NODISCARD prle_status prle_leak_measure(double *auc, const prle_maps *maps, const prle_faces *faces, const int64_t *index,
                                             int64_t n);
