// Package policy gives rules their meaning.
package policy
