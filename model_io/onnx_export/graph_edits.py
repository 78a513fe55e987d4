"""Edits of an ONNX graph by value name; producers and readers stay up to date."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, numpy_helper


class GraphEdits:
    """Producer and readers of each value of a graph; `write_graph` writes the edited graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes = list(graph.node)
        self.makers: dict[str, NodeProto] = {}
        self.readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            self.makers.update(dict.fromkeys(node.output, node))
            for value in dict.fromkeys(node.input):
                self.readers[value].append(node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def is_graph_output(self, value: str) -> bool:
        """Whether the graph returns the value."""
        return any(output.name == value for output in self.graph.output)

    def constant_array(self, name: str) -> NDArray[np.generic]:
        """Return the values of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def add_constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant and return the name."""
        # files have no strides, so a transposed view is copied
        self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def redirect_readers(self, old: str, new: str) -> None:
        """Let the readers of `old` read `new`; the graph's output counts as a reader."""
        for node in self.readers.pop(old, []):
            for place, value in enumerate(node.input):
                if value == old:
                    node.input[place] = new
            # messages compare by value, and two nodes can be equal
            if not any(node is other for other in self.readers[new]):
                self.readers[new].append(node)
        for output in self.graph.output:
            if output.name == old:
                output.name = new

    def remove_node(self, node: NodeProto) -> None:
        """Remove a node without readers."""
        for value in node.output:
            self.makers.pop(value, None)
        for value in dict.fromkeys(node.input):
            self.readers[value] = [n for n in self.readers[value] if n is not node]
        self.nodes = [other for other in self.nodes if other is not node]

    def insert_node_after(self, earlier: NodeProto, node: NodeProto) -> None:
        """Insert a node right after the node `earlier`."""
        place = next(i for i, other in enumerate(self.nodes) if other is earlier)
        self.nodes.insert(place + 1, node)
        self.makers.update(dict.fromkeys((*earlier.output,), earlier))
        self.makers.update(dict.fromkeys(node.output, node))
        for value in dict.fromkeys(node.input):
            self.readers[value].append(node)

    def remove_reader(self, node: NodeProto, value: str) -> None:
        """Record that a node no longer reads a value."""
        self.readers[value] = [other for other in self.readers[value] if other is not node]

    def write_graph(self) -> None:
        """Write the nodes and the used constants to the graph."""
        kept = [tensor for name, tensor in self.constants.items() if self.readers.get(name)]
        nodes = list(self.nodes)
        del self.graph.initializer[:], self.graph.node[:]
        self.graph.initializer.extend(kept)
        self.graph.node.extend(nodes)
