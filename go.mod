module garita

go 1.26.8
