"""A second look at a few images: detectors, what they are asked, and how each image gets its answer or its reason.

    request     the user's words; importing it loads nothing heavy
    questions   `--what` -> labels and texts
    weights     `--weights` -> a folder on this machine
    owl         OWLv2 and OWL-ViT through transformers
    remote      Amazon Rekognition
    reading     a row of the band -> bytes, by the sources of pass 1
    run         plan, and the work itself
    cli         the command

The only room of transformers. Which images are to be looked at is query's business; the front door hands them in.
"""
