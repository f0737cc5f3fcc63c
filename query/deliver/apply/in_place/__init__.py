"""`apply --in-place`: a folder's pruned images moved aside, with the manifests and archives that name them."""
