"""Reading and writing of images, labels and tables; paths of the results."""
