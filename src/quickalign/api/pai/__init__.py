"""The dialect that the stock client of PAI speaks: signed requests to products, translated to calls of the platform."""
