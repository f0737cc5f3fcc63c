"""Finding every pair of images whose cosine reaches a floor: exactly, or by cells with the recall measured.

libraries   FAISS, and one thread for each of ours
rows        the embeddings of a store, spooled to local disk
crowds      images that share one embedding with so many that only one of them is compared
cosine      what a stored cosine is: exact to its sixth decimal
bound       x.y <= lo_x.lo_y + |r_x||r_y|, which decides nearly every pair with few multiplications
compare     two blocks of rows to their close pairs
exact       every pair, in stripes
cells       pairs that share a neighbourhood, in stripes
sample      how far cells must reach, and how many of a sample's pairs were found
files       pairs and cells as they lie in the store
work        one round: new parts compared with each other and with all before them
find        the whole of it: which set is to be completed, and by which rounds
"""
