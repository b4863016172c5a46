"""What a finished build is asked: is it healthy (`health`), is its secret represented and used (`inside`)?"""
