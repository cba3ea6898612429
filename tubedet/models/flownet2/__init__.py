"""FlowNet2 and its parts (Ilg et al., 2017), without compiled operations."""
