# Puts your names into the policies of this folder: sed -f names.sed embed.json
s/SOURCE-BUCKET/my-photos/g
s/SOURCE-PREFIX/train/g
s/STORE-BUCKET/my-photos/g
s/STORE-PREFIX/store/g
s/RUNS-BUCKET/my-photos/g
s|RUNS-PREFIX|cleaned/manifests|g
s/DESTINATION-BUCKET/my-photos/g
s|DESTINATION-PREFIX|cleaned/train|g
