package variform

import "strings"

// topicArg is an argument of the topic functions: anything but null, as a text.
func (r *run) topicArg(args []any, i int) (string, error) {
	if args[i] == nil {
		return "", bad("argument %d must not be null", i+1)
	}
	return r.text(args[i])
}

// topicJoin is topic_join(words), or topic_join(parent, word), which does not double a slash at the end of parent.
func topicJoin(r *run, args []any) (any, error) {
	if len(args) == 1 {
		words, err := listArg(args, 0)
		if err != nil {
			return nil, err
		}
		for i, word := range words {
			if word == nil {
				return nil, bad("word %d must not be null", i+1)
			}
		}
		return r.join("/", words)
	}
	parent, err := r.topicArg(args, 0)
	if err != nil {
		return nil, err
	}
	word, err := r.topicArg(args, 1)
	if err != nil {
		return nil, err
	}
	if parent == "" {
		return nil, bad("the parent is empty")
	}
	return strings.TrimSuffix(parent, "/") + "/" + word, r.fits(len(parent) + 1 + len(word))
}

func topicSplit(r *run, args []any) (any, error) {
	topic, err := r.topicArg(args, 0)
	if err != nil {
		return nil, err
	}
	words := strings.Split(topic, "/")
	list := make([]any, len(words))
	for i, word := range words {
		list[i] = word
	}
	return list, r.spendTimes(len(list), costMember)
}

func topicMatch(r *run, args []any) (any, error) {
	topic, err := r.topicArg(args, 0)
	if err != nil {
		return nil, err
	}
	filter, err := r.topicArg(args, 1)
	if err != nil {
		return nil, err
	}
	return matches(topic, filter), nil
}

// matches reports whether filter matches topic (MQTT 5.0, 4.7): one that begins with a wildcard does not match a topic
// that begins with $, and a/# matches a.
func matches(topic, filter string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for more := true; ; {
		want, rest, deeper := strings.Cut(filter, "/")
		if want == "#" && !deeper {
			return true
		}
		if !more {
			return false
		}
		var level string
		level, topic, more = strings.Cut(topic, "/")
		if want != "+" && want != level {
			return false
		}
		if !deeper {
			return !more
		}
		filter = rest
	}
}
