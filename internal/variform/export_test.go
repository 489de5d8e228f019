package variform

import (
	"maps"
	"slices"
)

// FunctionNames are all names that can be called, with their least and greatest number of arguments.
func FunctionNames() map[string][2]int {
	names := map[string][2]int{"iif": {3, 3}, "coalesce": {0, 4}, "is_empty": {1, 1}}
	for module, functions := range modules {
		for name, f := range functions {
			if module != builtinModule {
				name = module + "." + name
			}
			names[name] = [2]int{f.min, f.max}
		}
	}
	return names
}

// SortedNames are the names of [FunctionNames].
func SortedNames() []string { return slices.Sorted(maps.Keys(FunctionNames())) }
