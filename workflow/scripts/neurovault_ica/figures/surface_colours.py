"""What surfaces show of a map, and their greys: the same in the figures and on the page."""

# Grey of gyri, of sulci, and of vertices without a value, 0 to 255.
GYRUS, SULCUS, NO_DATA = 207, 145, 244
# Hidden values end at this share of the threshold. Cortex outside the mask is noted from this share on; a brain mask
# leaves out single vertices.
BELOW, LEAST_NOTED = 0.999, 0.01
# Fewer vertices are hardly visible: this share of both hemispheres is 100 vertices, or about 8 cm2.
LEAST_ON_CORTEX = 0.005
