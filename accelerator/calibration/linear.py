"""Linear algebra of a few unknowns in plain Python: the cost model imports no library."""

Matrix = list[list[float]]


def invert_matrix(matrix: Matrix) -> Matrix:
    """Return the inverse of a square matrix by Gauss-Jordan elimination with pivots.

    >>> invert_matrix([[2.0, 0.0], [0.0, 4.0]])
    [[0.5, 0.0], [0.0, 0.25]]
    """
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(rows[r][column]))
        if abs(rows[pivot][column]) < 1e-300:
            raise ValueError("a matrix must have an inverse; this one is singular")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column][column]
        rows[column] = [value / head for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [
                    a - factor * b for a, b in zip(rows[other], rows[column], strict=True)
                ]
    return [row[size:] for row in rows]


def multiply_by_vector(matrix: Matrix, vector: list[float]) -> list[float]:
    """Return a matrix times a vector.

    >>> multiply_by_vector([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    [3.0, 7.0]
    """
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]
